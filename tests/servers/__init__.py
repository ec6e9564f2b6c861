"""Real servers that tests run beside Kissa: started on loopback, ended by their process ids."""
