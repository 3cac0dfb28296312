"""Read rows as preferences, demonstrations and prompts.

`recognise` finds the mapping of a file's columns, `mapped` reads rows by a mapping, `turns` reads
the value of a cell, and `joining` joins a prompt and its responses to one dialogue. A row becomes
one outcome: a canonical pair, the reason to drop the row, or the error that it cannot be read.
"""
