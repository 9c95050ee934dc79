"""Networks, their criteria, and the loop that trains them."""
