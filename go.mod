module github.com/accountlock/accountlock

go 1.26
