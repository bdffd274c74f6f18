"""One outside thing a file: MongoDB for real, and a fake that keeps the same promises in memory."""
