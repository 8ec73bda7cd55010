"""What a training does with images: their order, and how they are altered. Nothing here needs torch."""
