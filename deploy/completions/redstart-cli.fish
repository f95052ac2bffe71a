complete -c redstart-cli -s h -d 'Host of the server [default: 127.0.0.1]' -r
complete -c redstart-cli -s p -d 'Port of the server [default: 6379]' -r
complete -c redstart-cli -s s -d 'Socket of the server, instead of host and port' -r -F
complete -c redstart-cli -s u -d 'redis://user:password@host:port/database as a whole, or rediss:// for TLS' -r
complete -c redstart-cli -s a -l pass -d 'Password; a variable REDISCLI_AUTH in the environment is safer' -r
complete -c redstart-cli -l user -d 'User to authenticate as; needs a password' -r
complete -c redstart-cli -s n -d 'Number of the database' -r
complete -c redstart-cli -l sni -d 'Host name to send to the server, as SNI' -r
complete -c redstart-cli -l cacert -d 'PEM file of the trusted CAs' -r -F
complete -c redstart-cli -l cacertdir -d 'Directory of the trusted CAs; without a file or directory, those of the system' -r -F
complete -c redstart-cli -l cert -d 'Certificate to present to the server' -r -F
complete -c redstart-cli -l key -d 'Private key of the certificate' -r -F
complete -c redstart-cli -l tls-ciphers -d 'Cipher suites of TLS 1.2 to offer, by their OpenSSL names' -r
complete -c redstart-cli -l tls-ciphersuites -d 'Cipher suites of TLS 1.3 to offer' -r
complete -c redstart-cli -s r -d 'Send the command this many times; -1 means forever' -r
complete -c redstart-cli -s i -d 'Seconds between repetitions, such as 0.1; also for the modes below' -r
complete -c redstart-cli -s X -d 'Replace the argument TAG by standard input' -r
complete -c redstart-cli -s d -d 'Delimiter between the elements of a raw reply [default: a line end]' -r
complete -c redstart-cli -s D -d 'Delimiter after a raw reply [default: a line end]' -r
complete -c redstart-cli -l show-pushes -d 'Print RESP3 push messages [default: if the output is a terminal]' -r
complete -c redstart-cli -l eval -d 'Run the script in FILE; the arguments are its keys, a comma, and its arguments' -r -F
complete -c redstart-cli -l rdb -d 'Save a snapshot of the server\'s data in a file; - is the standard output' -r -F
complete -c redstart-cli -l functions-rdb -d 'Like --rdb, with functions only' -r -F
complete -c redstart-cli -l memkeys-samples -d 'Like --memkeys, looking at N elements of each key' -r
complete -c redstart-cli -l lru-test -d 'Simulate a cache in which most requests are for few keys' -r
complete -c redstart-cli -l intrinsic-latency -d 'Measure how long this machine keeps a busy process waiting' -r
complete -c redstart-cli -l pattern -d 'Select keys by pattern, for --scan, --bigkeys, --memkeys and --hotkeys' -r
complete -c redstart-cli -l quoted-pattern -d 'Like --pattern, but quoted, so that it can contain any bytes' -r
complete -c redstart-cli -l count -d 'Approximate number of keys that each SCAN examines [default: 10]' -r
complete -c redstart-cli -l type -d 'Only keys of a type, for --scan' -r
complete -c redstart-cli -l pipe-timeout -d 'Seconds that --pipe waits for replies after sending everything [default: 30; 0 means forever]' -r
complete -c redstart-cli -l cluster -d 'Manage a cluster; --cluster help lists the commands' -r
complete -c redstart-cli -l cluster-replicas -d 'create: replicas per master [default: 0]' -r
complete -c redstart-cli -l cluster-from -d 'reshard: the nodes that give slots, or all. import: host:port' -r
complete -c redstart-cli -l cluster-to -d 'reshard: the node that receives slots' -r
complete -c redstart-cli -l cluster-slots -d 'reshard: the number of slots to move' -r
complete -c redstart-cli -l cluster-timeout -d 'Timeout of MIGRATE [default: 60000]' -r
complete -c redstart-cli -l cluster-pipeline -d 'Keys per MIGRATE [default: 10]' -r
complete -c redstart-cli -l cluster-weight -d 'rebalance: weights of nodes [default: 1]' -r
complete -c redstart-cli -l cluster-threshold -d 'rebalance: move slots from this imbalance on [default: 2]' -r
complete -c redstart-cli -l cluster-master-id -d 'add-node: of this master; the default has the fewest replicas' -r
complete -c redstart-cli -l cluster-from-user -d 'import: the user of the source' -r
complete -c redstart-cli -l cluster-from-pass -d 'import: that user\'s password' -r
complete -c redstart-cli -l tls -d 'Encrypt the connection'
complete -c redstart-cli -l insecure -d 'Accept any server certificate'
complete -c redstart-cli -l askpass -d 'Ask for the password at the terminal, instead of -a and REDISCLI_AUTH'
complete -c redstart-cli -l no-auth-warning -d 'Do not warn about a password on the command line'
complete -c redstart-cli -s 2 -l resp2 -d 'Use RESP2, even with --json'
complete -c redstart-cli -s 3 -l resp3 -d 'Speak RESP3'
complete -c redstart-cli -s x -d 'Read the last argument from the standard input'
complete -c redstart-cli -s c -d 'Follow the redirections of a cluster (MOVED and ASK)'
complete -c redstart-cli -s e -d 'Exit with status 1 if the server returns an error'
complete -c redstart-cli -l raw -d 'Print the bytes of replies unchanged [default unless the output is a terminal]'
complete -c redstart-cli -l no-raw -d 'Print replies for people, even to a pipe'
complete -c redstart-cli -l csv -d 'Print replies as CSV'
complete -c redstart-cli -l json -d 'Print replies as JSON; uses RESP3 if the server supports it'
complete -c redstart-cli -l quoted-json -d 'The same in ASCII, with other bytes as \\xHH'
complete -c redstart-cli -l quoted-input -d 'Unquote arguments that begin with a quote'
complete -c redstart-cli -l ldb -d 'Debug the script of --eval step by step; its writes are discarded'
complete -c redstart-cli -l ldb-sync-mode -d 'Like --ldb, but its writes are kept, and other clients have to wait'
complete -c redstart-cli -l verbose -d 'Report changes of the connection'
complete -c redstart-cli -l latency -d 'Measure the latency of PING'
complete -c redstart-cli -l latency-history -d 'Like --latency, with a new line every 15 seconds or -i'
complete -c redstart-cli -l latency-dist -d 'Show latencies as a spectrum of colours, one line per second or per -i'
complete -c redstart-cli -l replica -d 'Show the commands that the server sends to its replicas'
complete -c redstart-cli -l pipe -d 'Send standard input to the server unchanged, and count replies and errors'
complete -c redstart-cli -l bigkeys -d 'Look for keys with many elements'
complete -c redstart-cli -l memkeys -d 'Look for keys that take much memory'
complete -c redstart-cli -l hotkeys -d 'Look for keys that are used often; needs an LFU policy'
complete -c redstart-cli -l stat -d 'Print figures of the server every second or -i'
complete -c redstart-cli -l scan -d 'List the keys'
complete -c redstart-cli -l cluster-yes -d 'Do not ask for confirmation; also with REDISCLI_CLUSTER_YES=1'
complete -c redstart-cli -l cluster-replace -d 'Replace keys that the target has with another value'
complete -c redstart-cli -l cluster-copy -d 'import: leave the keys on the source'
complete -c redstart-cli -l cluster-use-empty-masters -d 'rebalance: also give slots to masters without slots'
complete -c redstart-cli -l cluster-simulate -d 'rebalance: show the moves only'
complete -c redstart-cli -l cluster-slave -l cluster-replica -d 'add-node: as a replica'
complete -c redstart-cli -l cluster-only-masters -d 'call: only masters'
complete -c redstart-cli -l cluster-only-replicas -d 'call: only replicas'
complete -c redstart-cli -l cluster-search-multiple-owners -d 'check, fix: also look for slots with keys on several masters'
complete -c redstart-cli -l cluster-fix-with-unreachable-masters -d 'fix: also give away slots of unreachable masters'
complete -c redstart-cli -l cluster-from-askpass -d 'import: ask for that password at the terminal'
complete -c redstart-cli -s ? -l help -d 'Print this help'
complete -c redstart-cli -l version -d 'Print the version'
