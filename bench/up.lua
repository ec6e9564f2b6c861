-- Uploads of 100 KB (102,400 bytes), each under a name of its own, for wrk.
-- From the environment: METHOD (POST, or PUT), FIELD (of the file), FORM (name=value, a form field
-- that comes before the file), TOKEN (a header; several with commas between, one for each thread).
local method = os.getenv("METHOD") or "POST"
local boundary = "----kissabench7f3a9"
local content = string.rep("0123456789abcdef", 6400)
local before = ""
local name, value = (os.getenv("FORM") or ""):match("^(.-)=(.*)$")
if name then
  before = "--" .. boundary .. "\r\nContent-Disposition: form-data; name=\"" .. name .. "\"\r\n\r\n" .. value .. "\r\n"
end
before = before .. "--" .. boundary .. "\r\nContent-Disposition: form-data; name=\"" .. (os.getenv("FIELD") or "file") .. "\"; filename=\""
local between = "\"\r\nContent-Type: application/octet-stream\r\n\r\n" .. content .. "\r\n--" .. boundary .. "--\r\n"
local number = 0

wrk.method = method
local tokens = {}
for token in (os.getenv("TOKEN") or ""):gmatch("[^,]+") do tokens[#tokens + 1] = token end
if method == "POST" then wrk.headers["Content-Type"] = "multipart/form-data; boundary=" .. boundary end

local threads = 0
function setup(thread)
  thread:set("place", threads)
  threads = threads + 1
end

function init(args)
  if #tokens > 0 then wrk.headers["token"] = tokens[place % #tokens + 1] end
end

function request()
  number = number + 1
  if method == "PUT" then
    -- Never a name that is there: ext4 writes a file out at once when it replaces another.
    return wrk.format(nil, wrk.path .. "f" .. number .. ".bin", nil, content)
  end
  return wrk.format(nil, nil, nil, before .. "f" .. number .. ".bin" .. between)
end

dofile(os.getenv("DONE"))
