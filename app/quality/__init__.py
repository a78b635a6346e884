"""How far people agree, how each of them answers, what admins decide about it, and what people's taste is made of."""
