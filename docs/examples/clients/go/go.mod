module zcrx-client

go 1.19
