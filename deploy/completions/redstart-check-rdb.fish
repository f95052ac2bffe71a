complete -c redstart-check-rdb -s h -l help -d 'Print help'
