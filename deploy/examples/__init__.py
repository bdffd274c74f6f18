"""What the demo and the documentation run on: one invented lender and ninety days of its calls."""
