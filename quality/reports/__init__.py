"""The report site: templates, one style sheet, small charts. Knows how things look, not where they come from."""
