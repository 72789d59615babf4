"""reading: a page's bytes in, what it says out. Pure: no network, no clock, no run, no settings.

`head` reads what stands before the body; `page` what the markup shows; `article` finds the text;
`gate` decides how much effort a page needs; `document` puts a document together of all that.
"""
