"""Reviews by people: export to annotation tools, import of what they decide, and the record of decisions."""
