"""Networks: architectures, training data, training and prediction."""
