"""Laws that hold at every width."""
