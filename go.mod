module github.com/admit-auth/admit

go 1.26.0
