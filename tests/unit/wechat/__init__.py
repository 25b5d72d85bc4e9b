"""The channel ``wechat`` against a double in the test's own process."""
