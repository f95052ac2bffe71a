complete -c redstart-top -s h -d 'Host of the server [default: 127.0.0.1]' -r
complete -c redstart-top -s p -d 'Port of the server [default: 6379]' -r
complete -c redstart-top -s s -d 'Socket of the server, instead of host and port' -r -F
complete -c redstart-top -s u -d 'redis://user:password@host:port/database as a whole, or rediss:// for TLS' -r
complete -c redstart-top -s a -l pass -d 'Password; a variable REDISCLI_AUTH in the environment is safer' -r
complete -c redstart-top -l user -d 'User to authenticate as; needs a password' -r
complete -c redstart-top -s n -d 'Number of the database' -r
complete -c redstart-top -l sni -d 'Host name to send to the server, as SNI' -r
complete -c redstart-top -l cacert -d 'PEM file of the trusted CAs' -r -F
complete -c redstart-top -l cacertdir -d 'Directory of the trusted CAs; without a file or directory, those of the system' -r -F
complete -c redstart-top -l cert -d 'Certificate to present to the server' -r -F
complete -c redstart-top -l key -d 'Private key of the certificate' -r -F
complete -c redstart-top -l tls-ciphers -d 'Cipher suites of TLS 1.2 to offer, by their OpenSSL names' -r
complete -c redstart-top -l tls-ciphersuites -d 'Cipher suites of TLS 1.3 to offer' -r
complete -c redstart-top -s i -l interval -d 'Seconds between two samples' -r
complete -c redstart-top -l count -d 'Exit after this many intervals' -r
complete -c redstart-top -l tls -d 'Encrypt the connection'
complete -c redstart-top -l insecure -d 'Accept any server certificate'
complete -c redstart-top -l once -d 'Print one line for one interval and exit'
complete -c redstart-top -l plain -d 'Print lines, even on a terminal'
complete -c redstart-top -l json -d 'Print one JSON object per line'
complete -c redstart-top -l ascii -d 'Draw with ASCII only, as in a locale without UTF-8'
complete -c redstart-top -l help -d 'Print this help'
