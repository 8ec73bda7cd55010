"""Review by file: frames go to an annotation tool, and what people made of them comes back."""
