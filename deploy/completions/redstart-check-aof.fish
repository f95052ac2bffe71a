complete -c redstart-check-aof -l truncate-to-timestamp -d 'Cut off commands written after this Unix time (seconds), according to the timestamp annotations' -r
complete -c redstart-check-aof -l fix -d 'Truncate the log before the first error'
complete -c redstart-check-aof -s h -l help -d 'Print help'
