"""The OpenAPI document's shapes: the data of every answer and of every outgoing call, and the words of every path.

For the document alone: the service builds its answers as plain dicts, and tests hold them against these shapes.
"""
