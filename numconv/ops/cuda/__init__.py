"""Operations on arrays that lie on a GPU: the twins of `numconv.ops`, by the same names."""
