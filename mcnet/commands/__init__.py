"""What the commands do: each a function that returns plain values, and one that tells them in words."""
