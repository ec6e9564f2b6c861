-- One request over and over, for wrk; its headers come by -H. From the environment: METHOD.
wrk.method = os.getenv("METHOD") or "GET"

dofile(os.getenv("DONE"))
