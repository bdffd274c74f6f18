"""How well the readers of texts read: labeled texts, and the tables of their figures.

The labeled texts are ours, written by hand as people text; no borrower's text is among them. Each family of phrasings is
either in the part that the rules are tuned on or in the part that is held out, never in both.
"""
