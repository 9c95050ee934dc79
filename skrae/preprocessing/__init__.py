"""From raw columns to working space, and back."""
