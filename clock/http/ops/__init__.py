"""Operators' paths over HTTP: ordinary handlers, for the role operator. One file a subject."""
