"""Training: recipes, data, losses and the trainer."""
