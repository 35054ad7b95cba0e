"""A paper on LGG, made again: its protocol, its figures, and what these may have meant.

Nothing generic imports this package: the study registers its rows and shows its tables.
"""
