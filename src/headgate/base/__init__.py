"""Words that every layer shares: blame, places, units, addresses, how a stream ended. Imports nothing of ours."""
