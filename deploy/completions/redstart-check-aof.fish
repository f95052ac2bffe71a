complete -c redstart-check-aof -l truncate-to-timestamp -d 'Cut off what was written after this second, by the annotations of time' -r
complete -c redstart-check-aof -l fix -d 'Cut the log where it breaks'
complete -c redstart-check-aof -s h -l help -d 'Print help'
