"""The notifier without anything outside."""
