"""Where everything that was seen is kept: the one package that imports SQLAlchemy."""
