"""Ways to read a network: each member turns a population into features, or is a network that reads networks."""
