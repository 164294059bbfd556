"""HTTP below the endpoints: who may ask, what a request may cost, and how answers and errors are sent."""
