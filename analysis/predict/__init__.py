"""What theory says about each observable that is analysed."""
