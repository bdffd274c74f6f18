"""Reading borrowers' texts, purely: whose words they are, whether they ask us to stop, and what else they mean.

In order: a machine's text says nothing (`machine`), secrets are masked (`masking`), what is quoted goes (`quoted`), the rest is
made plain (`normal`). Then `optouts` reads stop, start, help or a doubt, each with its scope and its rule, and `intents`, behind
the port of `interpreter`, what a conversation needs; `times` reads when to call. Every reader takes well under a millisecond
for an ordinary text, and up to some 20 for the longest made to be slow (`normal` bounds what is read). What they are worth is
measured: `ringback optout score`, `ringback intents score`.
"""
