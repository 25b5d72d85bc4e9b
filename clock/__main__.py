from clock.cli.main import main

main()
