module github.com/admit-auth/admit/bench

go 1.26.0

require github.com/admit-auth/admit v0.0.0

replace github.com/admit-auth/admit => ../
