"""What a subject has a right to: that their data is found, erased with proof, and stays erased."""
