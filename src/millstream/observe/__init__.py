"""What can be seen from outside: metrics, health, logs. Reads; changes nothing."""
