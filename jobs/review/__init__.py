"""Review by file: frames go to an annotation tool, and what people decide there comes back."""
