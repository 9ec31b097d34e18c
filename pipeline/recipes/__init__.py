"""One file per recipe; the docstring says what it trains, what it costs and what to expect."""
