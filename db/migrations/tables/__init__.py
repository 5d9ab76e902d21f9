"""Tables as the migrations of their number made them, where they would crowd out what is said about them."""
