"""Money in and out through a channel: questions about orders, payouts and refunds."""
