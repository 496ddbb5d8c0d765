"""What happens between chunks of steps, one file each; a user's own callback needs nothing from here."""
