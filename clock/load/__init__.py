"""A load test of any running instance, over HTTP alone: what to send and when, who sends it, what came back."""
