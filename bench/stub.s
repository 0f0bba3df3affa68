// There is a function without a body in link.go: the compiler asks for this file.
