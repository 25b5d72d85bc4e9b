"""The whole service as it is now: what is seen, the alarms, the gauges."""
