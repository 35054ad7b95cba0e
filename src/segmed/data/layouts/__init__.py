"""How data sets lie on disk: a file for each layout, named in the table of `segmed.data.sources`."""
