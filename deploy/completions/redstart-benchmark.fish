complete -c redstart-benchmark -s h -d 'Host of the server [default: 127.0.0.1]' -r
complete -c redstart-benchmark -s p -d 'Port of the server [default: 6379]' -r
complete -c redstart-benchmark -s s -d 'Socket of the server, instead of host and port' -r -F
complete -c redstart-benchmark -s u -d 'redis://user:password@host:port/database as a whole, or rediss:// for TLS' -r
complete -c redstart-benchmark -s a -l pass -d 'Password; a variable REDISCLI_AUTH in the environment is safer' -r
complete -c redstart-benchmark -l user -d 'User to authenticate as; needs a password' -r
complete -c redstart-benchmark -l dbnum -d 'Number of the database' -r
complete -c redstart-benchmark -l sni -d 'Host name to send to the server, as SNI' -r
complete -c redstart-benchmark -l cacert -d 'PEM file of the trusted CAs' -r -F
complete -c redstart-benchmark -l cacertdir -d 'Directory of the trusted CAs; without a file or directory, those of the system' -r -F
complete -c redstart-benchmark -l cert -d 'Certificate to present to the server' -r -F
complete -c redstart-benchmark -l key -d 'Private key of the certificate' -r -F
complete -c redstart-benchmark -l tls-ciphers -d 'Cipher suites of TLS 1.2 to offer, by their OpenSSL names' -r
complete -c redstart-benchmark -l tls-ciphersuites -d 'Cipher suites of TLS 1.3 to offer' -r
complete -c redstart-benchmark -s c -d 'Connections [default: 50]' -r
complete -c redstart-benchmark -s n -d 'Requests of each test [default: 100000]' -r
complete -c redstart-benchmark -l duration -d 'Send for this many seconds instead of a number of requests' -r
complete -c redstart-benchmark -s d -d 'Size of values [default: 3]' -r
complete -c redstart-benchmark -s r -d 'Random numbers from 0 to KEYS - 1 for keys, members and __rand_int__' -r
complete -c redstart-benchmark -s P -d 'Send this many requests before reading their replies [default: 1]' -r
complete -c redstart-benchmark -s t -d 'Run only these tests (comma-separated)' -r
complete -c redstart-benchmark -s k -d '1 keeps connections, 0 makes a new one for each batch [default: 1]' -r
complete -c redstart-benchmark -l threads -d 'Number of threads' -r
complete -c redstart-benchmark -l rate -d 'Open loop: this many requests per second, however slow the server; latency counts from each request\'s due time' -r
complete -c redstart-benchmark -l rounds -d 'Run each test this many times and show the median [default: 1, or 3 with --compare]' -r
complete -c redstart-benchmark -l compare -d 'Run each test against this server, too, in turn; may be repeated' -r
complete -c redstart-benchmark -l seed -d 'Seed of random numbers: the same seed gives the same requests' -r
complete -c redstart-benchmark -l html -d 'Write the report as a page' -r -F
complete -c redstart-benchmark -l precision -d 'Decimals of milliseconds [default: 3]' -r
complete -c redstart-benchmark -l tls -d 'Encrypt the connection'
complete -c redstart-benchmark -l insecure -d 'Accept any server certificate'
complete -c redstart-benchmark -l poisson -d 'Open loop at random distances, as from independent users, instead of even ones'
complete -c redstart-benchmark -s 3 -d 'Speak RESP3'
complete -c redstart-benchmark -l enable-tracking -d 'Send CLIENT TRACKING on first'
complete -c redstart-benchmark -s x -d 'Read the last argument of the command from the standard input'
complete -c redstart-benchmark -s I -d 'Open the connections and leave them alone until Ctrl-C'
complete -c redstart-benchmark -l cluster -d ''
complete -c redstart-benchmark -s q -d 'Print a line for each test'
complete -c redstart-benchmark -l csv -d 'Print comma-separated values'
complete -c redstart-benchmark -l json -d 'Print one JSON document at the end'
complete -c redstart-benchmark -s l -d 'Repeat the tests until Ctrl-C'
complete -c redstart-benchmark -s e -d 'Stop at the server\'s first error instead of counting errors'
complete -c redstart-benchmark -l help -d 'Print this help'
complete -c redstart-benchmark -s v -l version -d 'Print the version'
